// Send one event to freshet: java -cp "$KAFKA_HOME/libs/*" SendEvent.java BROKERS TOPIC USER ITEM

import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class SendEvent {
    public static void main(String[] args) throws Exception {
        if (args.length != 4) {
            System.err.println("usage: SendEvent BROKERS TOPIC USER ITEM");
            System.exit(2);
        }
        var settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("acks", "all");
        var event = Map.of(
            "user_id", args[2], "item_id", args[3], "timestamp", System.currentTimeMillis());
        var value = new ObjectMapper().writeValueAsBytes(event);
        try (var producer =
                new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
            var sent = producer.send(new ProducerRecord<>(args[1], args[2], value)).get();
            System.out.printf(
                "sent to %s partition %d offset %d%n", sent.topic(), sent.partition(), sent.offset());
        }
    }
}
